"""Who may say what: keys and peer ids, invitations and who is admitted, the owner's and anchors' word."""
