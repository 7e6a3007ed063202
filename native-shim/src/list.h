/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A circular doubly linked list whose nodes live inside what they link, so
 * that queueing allocates nothing. Named after the kernel's.
 */
#ifndef DMA_SHIM_LIST_H
#define DMA_SHIM_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define list_entry(node, type, member) \
	((type *)((char *)(node) - offsetof(type, member)))

#define list_for_each_safe(node, after, head)				\
	for ((node) = (head)->next, (after) = (node)->next;		\
	     (node) != (head);						\
	     (node) = (after), (after) = (node)->next)

static inline void list_init(struct list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_add_tail(struct list *node, struct list *head)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Leaves @node pointing at itself: list_empty(node) says "in no list". */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#endif /* DMA_SHIM_LIST_H */
