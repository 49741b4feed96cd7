"""What is checked of a model before anything of it runs: paths and sizes, Keras files, SavedModels."""
