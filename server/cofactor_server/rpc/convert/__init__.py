"""Between the wire and the domain: what passes in is within its limits, and what is wrong is listed field by field."""
