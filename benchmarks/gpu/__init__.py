"""The losses on a GPU that has no TensorFlow: exported here, run there."""
