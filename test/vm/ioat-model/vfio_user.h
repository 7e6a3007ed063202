/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vfio-user protocol, server side, as QEMU 11.1 speaks it. One connection a device;
 * when it closes, the next one finds the device as after power-on.
 */
#ifndef IOAT_MODEL_VFIO_USER_H
#define IOAT_MODEL_VFIO_USER_H

#include "device.h"

#define VFIO_USER_MAX_FDS 16
#define VFIO_USER_MAX_MESSAGE (64 * 1024)

struct vfio_user {
	int fd; /* -1: nobody is connected */
	struct device *dev;
	size_t have; /* bytes of the message in hand */
	int fds[VFIO_USER_MAX_FDS]; /* that came with it */
	size_t fd_count;
	_Alignas(8) uint8_t message[VFIO_USER_MAX_MESSAGE];
};

void vfio_user_init(struct vfio_user *vu, struct device *dev);
void vfio_user_connect(struct vfio_user *vu, int fd);

/* Takes one message if it is all there. Closes the connection where it cannot go on. */
void vfio_user_receive(struct vfio_user *vu);
void vfio_user_close(struct vfio_user *vu);

#endif
