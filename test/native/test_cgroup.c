// SPDX-License-Identifier: Apache-2.0
/* What control groups allow, read from trees of files like those of the kernel. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
	char name[500];
	int descriptor;

	snprintf(name, sizeof(name), "%s%s", scratch(), path);
	for (char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(name, 0700) && errno != EEXIST)
			FAIL("mkdir %s: %s", name, strerror(errno));
		*slash = '/';
	}
	descriptor = SYS(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	CHECK_EQ(write(descriptor, text, strlen(text)), strlen(text));
	close(descriptor);
}

static void expect(uint32_t cpus, uint64_t memory)
{
	struct cgroup_limits limits = cgroup_limits(scratch());

	CHECK_EQ(limits.cpus, cpus);
	CHECK_EQ(limits.memory, memory);
}

#define V2_MOUNT(top) "29 22 0:26 " top " /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

TEST(without_control_groups_there_is_no_limit)
{
	expect(UINT32_MAX, UINT64_MAX);
	write_file("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n\n");
	write_file("/proc/self/cgroup", "");
	expect(UINT32_MAX, UINT64_MAX);
}

TEST(the_tightest_of_nested_groups_counts)
{
	write_file("/proc/self/mountinfo", V2_MOUNT("/"));
	write_file("/proc/self/cgroup", "0::/system.slice/dmad.service\n");
	write_file("/sys/fs/cgroup/system.slice/dmad.service/cpu.max", "max 100000\n");
	expect(UINT32_MAX, UINT64_MAX);
	write_file("/sys/fs/cgroup/system.slice/cpu.max", "400000 100000\n");
	write_file("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
	expect(4, UINT64_C(1) << 30);
	write_file("/sys/fs/cgroup/system.slice/dmad.service/cpu.max", "150000 50000\n");
	write_file("/sys/fs/cgroup/system.slice/dmad.service/memory.max", "max\n");
	expect(3, UINT64_C(1) << 30);
	/* A container's own group is the top of what it sees. */
	write_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
	write_file("/sys/fs/cgroup/memory.max", "1000\n");
	expect(2, 1000);
	/* Others do not count. */
	write_file("/sys/fs/cgroup/user.slice/cpu.max", "100000 100000\n");
	expect(2, 1000);
}

TEST(a_part_of_a_cpu_is_left_to_itself)
{
	write_file("/proc/self/mountinfo", V2_MOUNT("/"));
	write_file("/proc/self/cgroup", "0::/\n");
	write_file("/sys/fs/cgroup/cpu.max", "50000 100000\n");
	expect(1, UINT64_MAX);
	write_file("/sys/fs/cgroup/cpu.max", "250000 100000\n");
	expect(2, UINT64_MAX);
	write_file("/sys/fs/cgroup/cpu.max", "nonsense\n");
	expect(UINT32_MAX, UINT64_MAX);
}

TEST(a_group_mounted_from_itself_on_is_found)
{
	write_file("/proc/self/mountinfo", V2_MOUNT("/docker/abc"));
	write_file("/proc/self/cgroup", "0::/docker/abc/inner\n");
	write_file("/sys/fs/cgroup/inner/cpu.max", "300000 100000\n");
	expect(3, UINT64_MAX);
	write_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
	expect(2, UINT64_MAX);
	/* Outside of what is mounted, as a process that was moved there is */
	write_file("/proc/self/cgroup", "0::/../other\n");
	expect(2, UINT64_MAX);
}

TEST(version_1_has_a_hierarchy_for_each_controller)
{
	write_file("/proc/self/mountinfo",
		   "30 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		   "31 22 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		   "32 22 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
	write_file("/proc/self/cgroup",
		   "4:cpuset:/nothing\n3:cpu,cpuacct:/a/b\n2:memory:/m\n1:name=systemd:/x\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
	write_file("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n");
	expect(UINT32_MAX, 9223372036854771712u);
	write_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "600000\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
	write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
	expect(6, UINT64_C(512) << 20);
}

TEST(this_machine_has_a_processor_with_a_name)
{
	struct context context = context_open(1);
	struct dma_shim_cpu_info info;

	memset(&info, 0x5a, sizeof(info));
	dma_shim_cpu_info(context.shim, &info);
	CHECK(info.cpus >= 1);
	CHECK(memchr(info.model, '\0', sizeof(info.model)));
	CHECK(info.model[0] != ' ');
	context_close(&context);
}
