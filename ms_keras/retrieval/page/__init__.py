"""A page to judge a retrieval model by: one HTML file, made by `write_page`."""
