"""Which pending job runs next, and the two queues that wake workers."""
