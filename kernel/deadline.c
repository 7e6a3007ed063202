// SPDX-License-Identifier: GPL-2.0-only
/*
 * The deadlines of requests, in order: only those that are overdue are looked
 * at.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/module.h>

#include "idma.h"

/* How late a timeout may be noticed. */
#define LATE msecs_to_jiffies(20)

/* So many requests expire before others get at the lock. */
#define BATCH 64

static void expire(struct work_struct *work);
static DECLARE_DELAYED_WORK(expire_work, expire);

/* Both under idma_queue_lock. */
static struct timerqueue_head deadlines = {
	.rb_root = RB_ROOT_CACHED,
};
/* What expire_work is queued for; U64_MAX is for nothing. */
static u64 armed = U64_MAX;

/* Has expire() run for @deadline, unless it will run before. */
static void arm(u64 deadline)
{
	u64 now = ktime_get_ns();

	lockdep_assert_held(&idma_queue_lock);
	if (deadline >= armed)
		return;
	armed = deadline;
	mod_delayed_work(idma_wq, &expire_work, deadline <= now ? 0 :
			 nsecs_to_jiffies(deadline - now) + LATE);
}

void idma_deadline_add(struct idma_request *request, u64 deadline)
{
	lockdep_assert_held(&idma_queue_lock);
	request->expiry.expires = ns_to_ktime(deadline);
	timerqueue_add(&deadlines, &request->expiry);
	arm(deadline);
}

void idma_deadline_remove(struct idma_request *request)
{
	lockdep_assert_held(&idma_queue_lock);
	if (!RB_EMPTY_NODE(&request->expiry.node))
		timerqueue_del(&deadlines, &request->expiry);
}

/* Expires a batch of overdue requests; false if that was all of them. */
static bool expire_some(u64 now, struct list_head *settled)
{
	struct timerqueue_node *node;
	unsigned int left = BATCH;
	u64 deadline;

	lockdep_assert_held(&idma_queue_lock);
	armed = U64_MAX;
	while ((node = timerqueue_getnext(&deadlines))) {
		deadline = ktime_to_ns(node->expires);
		if (deadline > now) {
			arm(deadline);
			return false;
		}
		if (!left--)
			return true;
		idma_request_expire(container_of(node, struct idma_request,
						 expiry), settled);
	}
	return false;
}

static void expire(struct work_struct *work)
{
	u64 now = ktime_get_ns();
	LIST_HEAD(settled);
	bool more;

	do {
		spin_lock(&idma_queue_lock);
		more = expire_some(now, &settled);
		spin_unlock(&idma_queue_lock);
		idma_requests_put(&settled);
		cond_resched();
	} while (more);
}

void idma_deadlines_exit(void)
{
	cancel_delayed_work_sync(&expire_work);
}
