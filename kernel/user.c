// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an open file may hold, and what all open files of a user may hold
 * together. The first keeps a user's programs from each other; the second is
 * the one that bounds, because a user may open many files.
 */
#include <linux/cred.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "idma.h"

static const struct {
	int file;
	int user;
} limits[IDMA_RESOURCES] = {
	[IDMA_REGIONS] = { IDMA_MAX_REGIONS, IDMA_USER_MAX_REGIONS },
	[IDMA_REQUESTS] = { IDMA_MAX_REQUESTS, IDMA_USER_MAX_REQUESTS },
	[IDMA_SEGMENTS] = { IDMA_MAX_QUEUED_SEGMENTS, IDMA_USER_MAX_SEGMENTS },
};

/* Users with an open file. */
static LIST_HEAD(users);
static DEFINE_SPINLOCK(users_lock);

static struct idma_user *lookup_user(kuid_t uid)
{
	struct idma_user *user;

	lockdep_assert_held(&users_lock);
	list_for_each_entry(user, &users, node)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/* Charges the caller's user for an open file; ERR_PTR(-EMFILE) at the limit. */
struct idma_user *idma_user_get(void)
{
	struct idma_user *user, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	fresh->uid = current_uid();
	spin_lock(&users_lock);
	user = lookup_user(fresh->uid);
	if (!user) {
		user = fresh;
		fresh = NULL;
		list_add(&user->node, &users);
	}
	if (user->files < IDMA_USER_MAX_FILES)
		user->files++;
	else
		user = ERR_PTR(-EMFILE);
	spin_unlock(&users_lock);
	kfree(fresh);
	return user;
}

void idma_user_put(struct idma_user *user)
{
	bool last;

	spin_lock(&users_lock);
	last = !--user->files;
	if (last)
		list_del(&user->node);
	spin_unlock(&users_lock);
	if (last)
		kfree(user);
}

void idma_users_show(struct seq_file *file)
{
	struct idma_user *user;

	seq_puts(file, "uid files regions requests segments\n");
	spin_lock(&users_lock);
	list_for_each_entry(user, &users, node)
		seq_printf(file, "%u %u %d %d %d\n",
			   from_kuid_munged(&init_user_ns, user->uid),
			   user->files, atomic_read(&user->used[IDMA_REGIONS]),
			   atomic_read(&user->used[IDMA_REQUESTS]),
			   atomic_read(&user->used[IDMA_SEGMENTS]));
	spin_unlock(&users_lock);
}

static bool charge(atomic_t *used, int amount, int limit)
{
	if (atomic_add_return(amount, used) <= limit)
		return true;
	atomic_sub(amount, used);
	return false;
}

/* False, and nothing is charged, if @context or its user would hold too much. */
bool idma_charge(struct idma_context *context, enum idma_resource what,
		 int amount)
{
	if (!charge(&context->used[what], amount, limits[what].file))
		return false;
	if (charge(&context->user->used[what], amount, limits[what].user))
		return true;
	atomic_sub(amount, &context->used[what]);
	return false;
}

void idma_uncharge(struct idma_context *context, enum idma_resource what,
		   int amount)
{
	atomic_sub(amount, &context->user->used[what]);
	atomic_sub(amount, &context->used[what]);
}
