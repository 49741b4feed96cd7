"""Asking a model server for predictions, over REST or gRPC."""
