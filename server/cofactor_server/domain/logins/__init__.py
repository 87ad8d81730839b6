"""A login: the grant that begins it, the policy that applies, and the tokens that follow."""
