# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# QEMU's command line: one function a concern, each adding to LAB_QEMU.

# Guest memory. 4 KiB of it in a file descriptor shared with the model, which is how a
# DMA engine outside QEMU can reach it.
LAB_GUEST_MEMORY=2G

lab_qemu_machine() { # KERNEL_DIR INITRD TMP
	local root data kernel=$1/vmlinux machine=q35,nvdimm=on append
	root=$(lab_root_dir) || exit
	data=$root/usr/share
	# where it is told nothing, the kernel shows no persistence_domain at all
	[ "$LAB_OPT_PERSISTENCE" = none ] || machine+=,nvdimm-persistence=$LAB_OPT_PERSISTENCE
	lab_exec_argv /usr/bin/qemu-system-x86_64
	# where there is one, because vmlinux does not start
	[ ! -e "$1/bzImage" ] || kernel=$1/bzImage
	# panic=-1 with -no-reboot: a panic ends QEMU, at once and without the debug-exit
	# device. mitigations cost time and have nothing to protect here.
	# The kernel panics on a timer that seems not to tick, which on a busy machine it may do.
	append="console=ttyS0 loglevel=7 oops=panic panic=-1 softlockup_panic=1 mitigations=off nokaslr no_timer_check"
	# ioatdma frees 65536 descriptors at a time with soft interrupts off: under the checks,
	# on a busy machine, that takes longer than a processor may seem stuck
	[ "$LAB_OPT_KERNEL" != debug ] ||
		append+=" watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 sysctl.kernel.hung_task_timeout_secs=600"
	[ "$LAB_OPT_IOMMU" = 0 ] || append+=" intel_iommu=on iommu=nopt iommu.strict=1"
	# shellcheck disable=SC2054 # the commas are QEMU's
	LAB_QEMU=("${LAB_ARGV[@]}"
		-L "$data/qemu" -L "$data/seabios" -nodefaults -no-user-config -display none -no-reboot
		-name "dmad-lab-$LAB_OPT_KERNEL" -machine "$machine"
		-m "$LAB_GUEST_MEMORY,slots=$((LAB_OPT_DEVICES + 1)),maxmem=256G"
		-object "memory-backend-memfd,id=mem0,size=$LAB_GUEST_MEMORY,share=on"
		-kernel "$kernel" -initrd "$2" -append "$append $LAB_OPT_APPEND"
		-chardev "file,id=console,path=$3/console" -serial chardev:console
		-device isa-debug-exit,iobase=0x501,iosize=1
		-device virtio-rng-pci)
	# KVM only on a host whose stock kernels it can run: kvm_pvm opens and starts, then
	# hangs Debian's kernels in their first instructions. TCG emulates `rep movsb`, which
	# the kernel copies with where the CPU says it is fast, byte by byte: 60 times slower.
	if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo && [ ! -d /sys/module/kvm_pvm ]; then
		LAB_QEMU+=(-accel kvm -cpu host)
	else
		LAB_QEMU+=(-accel tcg -cpu "max,-erms,-fsrm")
	fi
	lab_qemu_nodes
	[ -z "$LAB_OPT_GDB" ] || LAB_QEMU+=(-S -chardev "socket,id=gdb,path=$LAB_OPT_GDB,server=on,wait=off" -gdb chardev:gdb)
	[ "$LAB_OPT_IOMMU" = 0 ] || LAB_QEMU+=(-device "intel-iommu,caching-mode=on,intremap=off")
}

# Processors and memory: the memory is the first node's, with half of the processors.
lab_qemu_nodes() {
	local half=$((LAB_OPT_CPUS / 2))
	if [ "$LAB_OPT_NUMA" = 0 ]; then
		LAB_QEMU+=(-smp "$LAB_OPT_CPUS" -machine memory-backend=mem0)
	else
		# a socket of its own each, or the kernel finds that insane
		LAB_QEMU+=(-smp "$LAB_OPT_CPUS,sockets=2"
			-numa "node,nodeid=0,memdev=mem0,cpus=0-$((half - 1))"
			-numa "node,nodeid=1,cpus=$half-$((LAB_OPT_CPUS - 1))")
	fi
}

# Sparse files: a gigabyte nobody writes costs nothing.
lab_qemu_nvdimms() { # TMP
	local i
	for ((i = 0; i < LAB_OPT_DEVICES; i++)); do
		truncate -s "$LAB_OPT_SIZE" "$1/nvdimm$i"
		LAB_QEMU+=(-object "memory-backend-file,id=nv$i,share=on,mem-path=$1/nvdimm$i,size=$LAB_OPT_SIZE,align=2M"
			-device "nvdimm,id=nvdimm$i,memdev=nv$i,unarmed=off,node=$((LAB_OPT_NUMA * (i % 2)))")
	done
}

lab_qemu_share() { # TAG DIR [readonly=on]
	LAB_QEMU+=(-fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap${3:+,$3}"
		-device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}

lab_qemu_shares() { # KERNEL_DIR TMP
	local root
	root=$(lab_root_dir) || exit
	lab_qemu_share run "$2/guest" readonly=on
	lab_qemu_share usr "$root/usr" readonly=on
	lab_qemu_share modules "$1/modules" readonly=on
	lab_qemu_share repo "$LAB_REPO" readonly=on
	lab_qemu_share hostusr /usr readonly=on
	[ -z "$LAB_OPT_SHARE" ] || lab_qemu_share share "$LAB_OPT_SHARE"
}

lab_qemu_ports() { # TMP
	local port
	LAB_QEMU+=(-device virtio-serial-pci)
	for port in status out err; do
		LAB_QEMU+=(-chardev "file,id=$port,path=$1/$port"
			-device "virtserialport,chardev=$port,name=lab.$port")
	done
}

# One vfio-user device for every four channels, the most that the driver's hardware has.
lab_qemu_ioat() { # TMP
	local i
	for ((i = 0; i * 4 < LAB_OPT_CHANNELS; i++)); do
		LAB_QEMU+=(-device "{\"driver\":\"vfio-user-pci\",\"id\":\"ioat$i\",\"socket\":{\"type\":\"unix\",\"path\":\"$1/ioat$i.sock\"}}")
	done
	[ "$LAB_OPT_CHANNELS" -eq 0 ] ||
		LAB_QEMU+=(-chardev "socket,id=fault,path=$1/fault.sock"
			-device "virtserialport,chardev=fault,name=lab.fault")
}
