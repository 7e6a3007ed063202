/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: lines in, one answer a line. `clear`, `status`, or a SPEC to add;
 * the answer ends with a line "ok" or "error: why".
 */
#ifndef IOAT_MODEL_CONTROL_H
#define IOAT_MODEL_CONTROL_H

#include "device.h"

#define CONTROL_LINE 512

struct control {
	int fd; /* -1: free */
	size_t have;
	char line[CONTROL_LINE];
};

/* Takes what has come on @control; closes it at its end. */
void control_receive(struct control *control, struct faults *faults, const struct device *devices,
		     int device_count);

#endif
