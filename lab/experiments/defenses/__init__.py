"""What defenses are worth against attackers who know them or not."""
