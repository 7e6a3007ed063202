/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the socket: a header, then a body that depends on the command. */
#ifndef IOAT_MODEL_VFIO_USER_WIRE_H
#define IOAT_MODEL_VFIO_USER_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DEVICE_RESET = 13,
};

#define VFIO_USER_TYPE_MASK 0xf
#define VFIO_USER_TYPE_COMMAND 0
#define VFIO_USER_TYPE_REPLY 1
#define VFIO_USER_NO_REPLY 0x10
#define VFIO_USER_ERROR 0x20

struct vfio_user_header {
	uint16_t id, command;
	uint32_t size; /* of the whole message, this included */
	uint32_t flags;
	uint32_t error; /* an errno, with VFIO_USER_ERROR */
};

struct region_access { /* then the data, if any */
	uint64_t offset;
	uint32_t region, count;
};

struct vfio_user;

/* One command, its body replaced by its reply's, of *@reply bytes. 0 or an errno. */
int vfio_user_handle(struct vfio_user *vu, uint16_t command, uint8_t *body, size_t length,
		     size_t *reply);

#endif
