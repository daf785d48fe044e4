"""What a person types: one module a command, each with its options, examples and words. Nothing else imports click."""
