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
	return !list_empty_careful(&context->events);
}

/* For the context to read, unless its file is closed. */
void idma_event_queue(struct idma_event *event, u32 flags)
{
	struct idma_context *context = event->request->context;

	lockdep_assert_held(&idma_queue_lock);
	if (context->closed)
		return;
	event->flags = flags;
	kref_get(&event->request->ref);
	list_add_tail(&event->node, &context->events);
	wake_up_all(&context->wait);
}

/* From now on there are none. */
void idma_events_drop(struct idma_context *context)
{
	struct idma_event *event, *next;
	LIST_HEAD(unread);

	spin_lock(&idma_queue_lock);
	context->closed = true;
	list_splice_init(&context->events, &unread);
	spin_unlock(&idma_queue_lock);
	list_for_each_entry_safe(event, next, &unread, node) {
		list_del_init(&event->node);
		idma_request_put(event->request);
	}
}

/* Takes the next event out, with its reference, and fills in its record. */
static struct idma_event *next_event(struct idma_context *context,
				     struct ioat_dma_completion *record)
{
	struct idma_event *event;

	spin_lock(&idma_queue_lock);
	event = list_first_entry_or_null(&context->events, struct idma_event,
					 node);
	if (event) {
		list_del_init(&event->node);
		*record = event->request->completion;
		record->flags = event->flags;
	}
	spin_unlock(&idma_queue_lock);
	return event;
}

/*
 * The caller could not be given it, so it is the next in turn again. If its
 * request settled meanwhile, the event that says so is behind it.
 */
static void put_back(struct idma_event *event)
{
	struct idma_context *context = event->request->context;

	spin_lock(&idma_queue_lock);
	list_add(&event->node, &context->events);
	spin_unlock(&idma_queue_lock);
	wake_up_all(&context->wait);
}

static ssize_t read_some(struct idma_context *context, char __user *to,
			 size_t size)
{
	struct ioat_dma_completion record;
	struct idma_event *event;
	ssize_t done = 0;

	lockdep_assert_held(&context->read_lock);
	while (size - done >= sizeof(record)) {
		event = next_event(context, &record);
		if (!event)
			break;
		if (copy_to_user(to + done, &record, sizeof(record))) {
			put_back(event);
			return done ? done : -EFAULT;
		}
		idma_request_put(event->request);
		done += sizeof(record);
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
