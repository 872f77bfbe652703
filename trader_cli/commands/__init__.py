"""Commands: options -> desk -> phase -> view."""
