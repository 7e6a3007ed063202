// SPDX-License-Identifier: Apache-2.0
/*
 * The messages. Each handler gets the body and its length, already in memory, and
 * returns 0 with the reply in place of the body, or a positive errno. The bodies are
 * those of <linux/vfio.h>, whose structs are used here.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

#include "vfio_user.h"
#include "vfio_user_wire.h"

static const char capabilities[] =
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":32768,"
	"\"max_dma_maps\":65535,\"pgsizes\":4096}}";

struct version {
	uint16_t major, minor;
};

struct dma {
	uint32_t argsz, flags;
	uint64_t offset, iova, size;
};

struct undma {
	uint32_t argsz, flags;
	uint64_t iova, size;
};

static int do_version(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct version version;

	(void)vu;
	if (length < sizeof(version))
		return EINVAL;
	memcpy(&version, body, sizeof(version));
	if (version.major != 0)
		return ENOTSUP;
	version.minor = 0;
	memcpy(body, &version, sizeof(version));
	memcpy(body + sizeof(version), capabilities, sizeof(capabilities)); /* with its NUL */
	*reply = sizeof(version) + sizeof(capabilities);
	return 0;
}

static int do_dma_map(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct dma map;

	if (length < sizeof(map) || vu->fd_count > 1)
		return EINVAL;
	memcpy(&map, body, sizeof(map));
	*reply = 0;
	return memory_map(&vu->dev->memory, map.iova, map.size, map.flags,
			  vu->fd_count ? vu->fds[0] : -1, map.offset);
}

static int do_dma_unmap(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct undma unmap;

	if (length < sizeof(unmap))
		return EINVAL;
	memcpy(&unmap, body, sizeof(unmap));
	*reply = sizeof(unmap);
	return memory_unmap(&vu->dev->memory, unmap.iova, unmap.size);
}

static int do_get_info(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	const uint32_t info[4] = { /* argsz, flags, regions, irqs */
		sizeof(info), VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
		VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS,
	};

	(void)vu;
	if (length < sizeof(info))
		return EINVAL;
	memcpy(body, info, sizeof(info));
	*reply = sizeof(info);
	return 0;
}

static uint64_t region_size(uint32_t region)
{
	switch (region) {
	case VFIO_PCI_BAR0_REGION_INDEX: return IOAT_BAR0_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX: return IOAT_CONFIG_SIZE;
	default: return 0;
	}
}

static int do_get_region_info(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct vfio_region_info info;

	(void)vu;
	if (length < sizeof(info))
		return EINVAL;
	memcpy(&info, body, sizeof(info));
	if (info.index >= VFIO_PCI_NUM_REGIONS)
		return EINVAL;
	info.argsz = sizeof(info);
	info.cap_offset = 0;
	info.offset = 0;
	info.size = region_size(info.index);
	info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	memcpy(body, &info, sizeof(info));
	*reply = sizeof(info);
	return 0;
}

static uint32_t irq_count(const struct device *dev, uint32_t index)
{
	if (index == VFIO_PCI_MSIX_IRQ_INDEX && dev->msix)
		return IRQ_VECTORS;
	return index == VFIO_PCI_MSI_IRQ_INDEX && !dev->msix;
}

/* NORESIZE would make QEMU refuse to take the vectors one after the other. */
static int do_get_irq_info(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct vfio_irq_info info;

	if (length < sizeof(info))
		return EINVAL;
	memcpy(&info, body, sizeof(info));
	if (info.index >= VFIO_PCI_NUM_IRQS)
		return EINVAL;
	info.argsz = sizeof(info);
	info.count = irq_count(vu->dev, info.index);
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	memcpy(body, &info, sizeof(info));
	*reply = sizeof(info);
	return 0;
}

static void set_vector(struct vfio_user *vu, uint32_t vector, int fd)
{
	if (vu->dev->irq[vector] >= 0)
		close(vu->dev->irq[vector]);
	vu->dev->irq[vector] = fd;
}

static int do_set_irqs(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct vfio_irq_set set;
	uint32_t i, there;

	if (length < sizeof(set))
		return EINVAL;
	memcpy(&set, body, sizeof(set));
	*reply = 0;
	if (set.index >= VFIO_PCI_NUM_IRQS)
		return EINVAL;
	there = irq_count(vu->dev, set.index);
	if (set.start > there || set.count > there - set.start)
		return EINVAL;
	/* masking is QEMU's own business; INTx, errors and requests this device has none */
	if (!(set.flags & VFIO_IRQ_SET_ACTION_TRIGGER) || there == 0)
		return 0;
	if (set.count == 0) {
		for (i = 0; i < there; i++)
			set_vector(vu, i, -1);
	} else if (set.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
		/* fewer descriptors than vectors: the rest are given none */
		for (i = 0; i < set.count; i++) {
			set_vector(vu, set.start + i, i < vu->fd_count ? vu->fds[i] : -1);
			if (i < vu->fd_count)
				vu->fds[i] = -1; /* ours now */
		}
	}
	return 0;
}

/* Checks a region access; on success its header is in @access. */
static int region_access(const uint8_t *body, size_t length, struct region_access *access)
{
	if (length < sizeof(*access))
		return EINVAL;
	memcpy(access, body, sizeof(*access));
	if (access->region >= VFIO_PCI_NUM_REGIONS ||
	    access->offset > region_size(access->region) ||
	    access->count > region_size(access->region) - access->offset)
		return EINVAL;
	return 0;
}

static int do_region_read(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct region_access access;
	int error = region_access(body, length, &access);

	if (error)
		return error;
	if (access.region == VFIO_PCI_CONFIG_REGION_INDEX)
		memcpy(body + sizeof(access), vu->dev->config + access.offset, access.count);
	else
		bar_read(vu->dev, access.offset, body + sizeof(access), access.count);
	*reply = sizeof(access) + access.count;
	return 0;
}

static int do_region_write(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	struct region_access access;
	int error = region_access(body, length, &access);

	if (error)
		return error;
	if (length - sizeof(access) < access.count)
		return EINVAL;
	if (access.region == VFIO_PCI_CONFIG_REGION_INDEX) {
		config_write(vu->dev, access.offset, body + sizeof(access), access.count);
		irq_flush(vu->dev); /* bus mastering may have come on */
	} else {
		bar_write(vu->dev, access.offset, body + sizeof(access), access.count);
	}
	*reply = sizeof(access);
	return 0;
}

static int do_reset(struct vfio_user *vu, uint8_t *body, size_t length, size_t *reply)
{
	(void)body;
	(void)length;
	device_reset(vu->dev);
	*reply = 0;
	return 0;
}

static int (*const handlers[])(struct vfio_user *, uint8_t *, size_t, size_t *) = {
	[VFIO_USER_VERSION] = do_version,
	[VFIO_USER_DMA_MAP] = do_dma_map,
	[VFIO_USER_DMA_UNMAP] = do_dma_unmap,
	[VFIO_USER_DEVICE_GET_INFO] = do_get_info,
	[VFIO_USER_DEVICE_GET_REGION_INFO] = do_get_region_info,
	[VFIO_USER_DEVICE_GET_IRQ_INFO] = do_get_irq_info,
	[VFIO_USER_DEVICE_SET_IRQS] = do_set_irqs,
	[VFIO_USER_REGION_READ] = do_region_read,
	[VFIO_USER_REGION_WRITE] = do_region_write,
	[VFIO_USER_DEVICE_RESET] = do_reset,
};

int vfio_user_handle(struct vfio_user *vu, uint16_t command, uint8_t *body, size_t length,
		     size_t *reply)
{
	*reply = 0;
	if (command >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[command])
		return ENOTSUP;
	return handlers[command](vu, body, length, reply);
}
