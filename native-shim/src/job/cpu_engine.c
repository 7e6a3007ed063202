// SPDX-License-Identifier: Apache-2.0
/* The engine that copies with the pool's threads. */
#include "../internal.h"

static bool reaches(const struct device *source, const struct device *destination)
{
	(void)source;
	(void)destination;
	return true;
}

/* Small segments together in one piece, a large one in several */
static void begin(struct job *job)
{
	if (job_plan_run(job, job->segment_count)) {
		job->step = STEP_RUN;
	} else {
		job->step = STEP_COPY;
		job->run_length = 1;
	}
	step_queue(job);
}

static void withdraw(struct job *job)
{
	list_remove(&job->queue);
}

static bool uncached(const struct job *job, uint64_t size)
{
	return job->kernel && job->kernel->uncached && size >= STREAM_SEGMENT_MIN;
}

const struct engine_ops cpu_engine = {
	.reaches = reaches,
	.begin = begin,
	.withdraw = withdraw,
	.uncached = uncached,
};
