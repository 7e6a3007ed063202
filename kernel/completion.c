// SPDX-License-Identifier: GPL-2.0-only
/*
 * Completions, read many at a time.
 */
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "idma.h"

static bool readable(struct idma_context *context)
{
	return !list_empty_careful(&context->completions);
}

static struct idma_request *
next_completion(struct idma_context *context,
		struct ioat_dma_completion *completion)
{
	struct idma_request *request;

	spin_lock(&idma_queue_lock);
	request = list_first_entry_or_null(&context->completions,
					   struct idma_request, answered);
	if (request) {
		*completion = request->completion;
		request->told_unsettled |= completion->flags &
					   IOAT_DMA_COMPLETION_UNSETTLED;
	}
	spin_unlock(&idma_queue_lock);
	return request;
}

/* The caller could not be given @completion, so it did not read UNSETTLED. */
static void not_told(struct idma_request *request,
		     const struct ioat_dma_completion *completion)
{
	if (!(completion->flags & IOAT_DMA_COMPLETION_UNSETTLED))
		return;
	spin_lock(&idma_queue_lock);
	request->told_unsettled = false;
	request->completion.flags &= ~IOAT_DMA_COMPLETION_SETTLED;
	spin_unlock(&idma_queue_lock);
}

/* One that could not be handed over stays where it is, the next in turn. */
static ssize_t read_some(struct idma_context *context, char __user *to,
			 size_t size)
{
	const size_t record = sizeof(struct ioat_dma_completion);
	struct ioat_dma_completion completion;
	struct idma_request *request;
	ssize_t done = 0;
	bool taken;

	lockdep_assert_held(&context->read_lock);
	while (size - done >= record) {
		request = next_completion(context, &completion);
		if (!request)
			break;
		if (copy_to_user(to + done, &completion, record)) {
			not_told(request, &completion);
			return done ? done : -EFAULT;
		}
		spin_lock(&idma_queue_lock);
		/* it may have come to say SETTLED meanwhile: that is next */
		taken = request->completion.flags == completion.flags;
		if (taken)
			list_del_init(&request->answered);
		spin_unlock(&idma_queue_lock);
		if (taken)
			idma_request_put(request);
		done += record;
	}
	return done;
}

ssize_t idma_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct idma_context *context = file->private_data;
	ssize_t done;

	if (size < sizeof(struct ioat_dma_completion))
		return -EINVAL;
	for (;;) {
		if (mutex_lock_interruptible(&context->read_lock))
			return -ERESTARTSYS;
		done = read_some(context, to, size);
		mutex_unlock(&context->read_lock);
		if (done)
			return done;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(context->wait, readable(context)))
			return -ERESTARTSYS;
	}
}

__poll_t idma_poll(struct file *file, struct poll_table_struct *table)
{
	struct idma_context *context = file->private_data;

	poll_wait(file, &context->wait, table);
	return readable(context) ? EPOLLIN | EPOLLRDNORM : 0;
}
