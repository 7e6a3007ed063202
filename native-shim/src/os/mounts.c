// SPDX-License-Identifier: Apache-2.0
/* How a file system is mounted, as proc(5) tells: /proc/self/mountinfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

/* The id of the mount that a descriptor is open on; -1 if the kernel does not say */
static long mount_id(int descriptor)
{
	char path[64];
	char text[1024];
	const char *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", descriptor);
	if (!sysfs_read(path, text, sizeof(text)))
		return -1;
	line = strstr(text, "mnt_id:");
	return line ? strtol(line + strlen("mnt_id:"), NULL, 10) : -1;
}

/* "ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS\n" */
static bool parse(char *line, struct mount *mount)
{
	char *rest = strstr(line, " - ");

	if (!rest)
		return false;
	rest += strlen(" - ");
	rest[strcspn(rest, "\n")] = '\0';
	mount->line = line;
	mount->type = strsep(&rest, " ");
	mount->source = strsep(&rest, " ");
	mount->options = rest;
	return mount->options;
}

/**
 * mount_find() - how the file system of a descriptor is mounted
 * @mount: to be given to mount_free() if it was found
 *
 * Return: whether the kernel tells.
 */
bool mount_find(int descriptor, struct mount *mount)
{
	long id = mount_id(descriptor);
	FILE *file = id < 0 ? NULL : fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	if (!file)
		return false;
	while (!found && getline(&line, &room, file) > 0)
		found = strtol(line, NULL, 10) == id && parse(line, mount);
	fclose(file);
	if (!found)
		free(line);
	return found;
}

void mount_free(struct mount *mount)
{
	free(mount->line);
}

/* The text in place, with what the kernel wrote as \ooo read back */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				     (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/**
 * mount_option() - an option of the file system
 * @name:  such as "nobarrier", or "upperdir=" for one with a value
 * @value: of one that has a value, or NULL
 *
 * Return: whether it is mounted with that option; false if the value is too long.
 */
bool mount_option(const struct mount *mount, const char *name, char *value, size_t size)
{
	size_t length = strlen(name);
	const char *at = mount->options;

	while (*at) {
		size_t end = strcspn(at, ",");

		if (value && end > length && strncmp(at, name, length) == 0 &&
		    end - length < size) {
			memcpy(value, at + length, end - length);
			value[end - length] = '\0';
			unescape(value);
			return true;
		}
		if (!value && end == length && strncmp(at, name, length) == 0)
			return true;
		at += end + (at[end] == ',');
	}
	return false;
}
