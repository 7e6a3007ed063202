// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"

static void status(char *out, size_t size, const struct faults *faults,
		   const struct device *devices, int device_count)
{
	static const char *const names[] = { "active", "done", "suspended", "halted" };
	size_t used;
	int d, c;

	faults_describe(faults, out, size);
	used = strlen(out);
	for (d = 0; d < device_count; d++)
		for (c = 0; c < devices[d].channels && used < size; c++) {
			const struct channel *ch = &devices[d].channel[c];

			used += snprintf(out + used, size - used,
					 "device %d channel %d: %s, CHANERR %#x, %llu copies, %llu bytes\n",
					 d, c, names[ch->state], ch->error,
					 (unsigned long long)ch->copies,
					 (unsigned long long)ch->bytes);
		}
}

static void command(struct control *control, struct faults *faults, const struct device *devices,
		    int device_count)
{
	char answer[8192] = "";
	const char *error = NULL;
	size_t used;

	if (!strcmp(control->line, "clear"))
		faults->count = 0;
	else if (!strcmp(control->line, "status"))
		status(answer, sizeof(answer) - 256, faults, devices, device_count);
	else
		error = faults_add(faults, control->line);
	used = strnlen(answer, sizeof(answer) - 256);
	snprintf(answer + used, sizeof(answer) - used, error ? "error: %s\n" : "ok\n", error);
	/* who does not read the answer does not get it */
	if (send(control->fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN) {
		close(control->fd);
		control->fd = -1;
	}
}

void control_receive(struct control *control, struct faults *faults, const struct device *devices,
		     int device_count)
{
	ssize_t got = recv(control->fd, control->line + control->have,
			   sizeof(control->line) - 1 - control->have, MSG_DONTWAIT);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		control->have += got;
	while (got > 0 && control->fd >= 0 && (end = memchr(control->line, '\n', control->have))) {
		size_t length = end + 1 - control->line;

		*end = '\0';
		command(control, faults, devices, device_count);
		control->have -= length;
		memmove(control->line, end + 1, control->have);
	}
	if (control->fd >= 0 && (got <= 0 || control->have == sizeof(control->line) - 1)) {
		close(control->fd);
		control->fd = -1;
	}
}
