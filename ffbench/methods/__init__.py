"""What a method is: selectors, token rules, compensators, schedulers and the plan; torch only."""
