"""Reference codes in numpy and scipy that share nothing with the toolkit but the problem stated."""
