"""Creates, answers, polls and watches challenges."""
