"""What several tests share: small models, models with a closed form, small runs, all short sequences."""
