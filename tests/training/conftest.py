"""TensorBoard itself, without a server: what it would answer a browser."""

import argparse
import json

import pytest
from tensorboard.backend.application import TensorBoardWSGIApp
from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from tensorboard.plugins.core.core_plugin import CorePluginLoader
from tensorboard.plugins.image.images_plugin import ImagesPlugin
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
from werkzeug.test import Client

PLUGINS = [ScalarsPlugin, ImagesPlugin, ProjectorPlugin]


class Browser:
    """Asks TensorBoard, started anew on a folder of runs, for plugins' data."""

    def __init__(self, logdir):
        core, parser = CorePluginLoader(), argparse.ArgumentParser()
        core.define_flags(parser)
        flags = parser.parse_args(
            ["--logdir", str(logdir), "--reload_interval=0", "--reload_task=blocking"]
        )
        core.fix_flags(flags)
        data = LocalDataIngester(flags)
        data.start()
        app = TensorBoardWSGIApp(
            flags,
            [core, *PLUGINS],
            data.data_provider,
            None,
            data.deprecated_multiplexer,
        )
        self._client = Client(app)

    def get(self, path, **query):
        """Returns the body and its type."""
        answer = self._client.get(f"/data/plugin/{path}", query_string=query)
        assert answer.status_code == 200, answer.data
        return answer.data, answer.mimetype

    def json(self, path, **query):
        return json.loads(self.get(path, **query)[0])


@pytest.fixture
def tensorboard():
    return Browser
