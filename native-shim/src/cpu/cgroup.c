// SPDX-License-Identifier: Apache-2.0
/*
 * How much of the machine this process may use: the limits of its control
 * groups, and of those above it, in either version, as far as they are mounted
 * here. In a container they may be mounted from this process's own group on.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../os/os.h"
#include "cpu.h"

/* Room for a number and a line's end */
#define VALUE_SIZE 64u

static bool read_value(const char *directory, const char *file, char *text)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", directory, file) >= (int)sizeof(path))
		return false;
	return sysfs_read(path, text, VALUE_SIZE);
}

/* A quota in whole CPUs: what is left of one is not worth a thread. */
static void limit_cpus(struct cgroup_limits *limits, long long quota, long long period)
{
	long long cpus;

	if (quota <= 0 || period <= 0)
		return;
	cpus = quota < period ? 1 : quota / period;
	if (cpus < limits->cpus)
		limits->cpus = (uint32_t)cpus;
}

static void limit_memory(struct cgroup_limits *limits, const char *text)
{
	char *end;
	unsigned long long bytes = strtoull(text, &end, 10);

	/* "max" is no number. */
	if (end != text && bytes < limits->memory)
		limits->memory = bytes;
}

/* What one group says, in the files of whichever version */
static void read_group(struct cgroup_limits *limits, const char *directory)
{
	char quota[VALUE_SIZE], period[VALUE_SIZE];
	long long runtime, length;

	if (read_value(directory, "cpu.max", quota) &&
	    sscanf(quota, "%lld %lld", &runtime, &length) == 2)
		limit_cpus(limits, runtime, length);
	if (read_value(directory, "cpu.cfs_quota_us", quota) &&
	    read_value(directory, "cpu.cfs_period_us", period))
		limit_cpus(limits, atoll(quota), atoll(period));
	if (read_value(directory, "memory.max", quota))
		limit_memory(limits, quota);
	if (read_value(directory, "memory.limit_in_bytes", quota))
		limit_memory(limits, quota);
}

/* Whether a list such as "cpu,cpuacct" has it */
static bool lists(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (; *list; list += *list == ',') {
		size_t end = strcspn(list, ",:\n");

		if (end == length && strncmp(list, name, length) == 0)
			return true;
		list += end;
		if (*list != ',')
			break;
	}
	return false;
}

/**
 * own_path() - where this process is in a hierarchy
 * @root:       see cgroup_limits()
 * @controller: that the hierarchy has; "" for version 2
 * @path:       room for PATH_MAX
 */
static bool own_path(const char *root, const char *controller, char *path)
{
	char name[PATH_MAX];
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *file;

	snprintf(name, sizeof(name), "%s/proc/self/cgroup", root);
	file = fopen(name, "re");
	if (!file)
		return false;
	/* "ID:CONTROLLERS:PATH" */
	while (!found && getline(&line, &room, file) > 0) {
		const char *controllers = strchr(line, ':');
		const char *at = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!at)
			continue;
		found = *controller ? lists(controllers + 1, controller) :
				      at == controllers + 1;
		if (found)
			snprintf(path, PATH_MAX, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
	}
	free(line);
	fclose(file);
	return found;
}

/* This process's group as mounted at @point from @top on, and those above it */
static void read_groups(struct cgroup_limits *limits, const char *root, const char *point,
			const char *top, const char *path)
{
	char directory[2 * PATH_MAX];
	size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
	size_t base = (size_t)snprintf(directory, sizeof(directory), "%s%s", root, point);

	/* Of another part of the hierarchy nothing is mounted but its top. */
	if (strncmp(path, top, length) == 0 && !strstr(path, "/.."))
		snprintf(directory + base, sizeof(directory) - base, "%s", path + length);
	for (;;) {
		char *slash = strrchr(directory + base, '/');

		read_group(limits, directory);
		if (!slash)
			return;
		*slash = '\0';
	}
}

/**
 * cgroup_limits() - what this process's control groups allow
 * @root: "", or for tests a directory in which proc and the mounts are
 */
struct cgroup_limits cgroup_limits(const char *root)
{
	struct cgroup_limits limits = { .cpus = UINT32_MAX, .memory = UINT64_MAX };
	static const char *const controllers[] = { "cpu", "memory" };
	char name[PATH_MAX], top[PATH_MAX], point[PATH_MAX], path[PATH_MAX];
	char *line = NULL;
	size_t room = 0;
	FILE *file;

	snprintf(name, sizeof(name), "%s/proc/self/mountinfo", root);
	file = fopen(name, "re");
	if (!file)
		return limits;
	while (getline(&line, &room, file) > 0) {
		const char *type = strstr(line, " - ");
		const char *options = strrchr(line, ' ');

		if (!type || sscanf(line, "%*s %*s %*s %4095s %4095s", top, point) != 2)
			continue;
		type += strlen(" - ");
		if (strncmp(type, "cgroup2 ", 8) == 0 && own_path(root, "", path))
			read_groups(&limits, root, point, top, path);
		for (unsigned int n = 0; n < 2 && strncmp(type, "cgroup ", 7) == 0; n++) {
			if (lists(options + 1, controllers[n]) &&
			    own_path(root, controllers[n], path))
				read_groups(&limits, root, point, top, path);
		}
	}
	free(line);
	fclose(file);
	return limits;
}
