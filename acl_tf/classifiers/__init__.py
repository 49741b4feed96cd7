"""What can be measured: model folders, `.keras` files, SavedModels, smoothed classifiers."""
