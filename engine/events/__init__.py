"""Events of all jobs, and who hears of them."""
