"""What every value is built from: value classes, encodings, languages, rate limits, events."""
