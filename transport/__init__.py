"""HTTP plumbing both ways: binds functions to routes, turns errors into answers, knows no role."""
