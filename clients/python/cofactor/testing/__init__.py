"""What tests of a service that uses Cofactor need: a throw-away server (`servers`) and what users hold (`devices`)."""
