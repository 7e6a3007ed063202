# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The command line of `run`, into LAB_OPT_* variables.

lab_run_usage() {
	cat <<-'EOF'
		usage: test/vm/run [OPTION...] -- COMMAND [ARGUMENT...]

		  --kernel K      5.10, 6.1 (default), 6.12, 7.3 or debug
		  --channels N    DMA channels, 0 to 16 (default 2); 0 is a machine without I/OAT
		  --devices N     device-dax devices, 0 to 8 (default 2): /dev/dax0.0, /dev/dax1.0 ...
		  --size SIZE     of each NVDIMM (default 1GiB); its device is 2 to 3 % smaller
		  --persistence P the NVDIMMs' persistence domain: mem-ctrl (default), cpu or none
		  --iommu         put an IOMMU before everything, so that only mapped memory is reached
		  --msi           the I/OAT device has MSI, not MSI-X
		  --cpus N        processors of the guest (default 1)
		  --numa          two NUMA nodes: half of the processors each, and every other device
		  --fault SPEC    a fault from the start on (ioat-model/README.md); may be repeated
		  --module DIR    build the kernel module in DIR; it is /modules/NAME.ko in the guest;
		                  may be repeated
		  --share DIR     DIR is /share in the guest, writable
		  --allow REGEX   trouble in the kernel's log that the command means to cause
		  --timeout S     seconds until the guest counts as hung (default 300; 1200 for debug)
		  --append ARGS   more arguments for the kernel
		  --console       copy the guest's console to stderr
		  --keep          keep the console, QEMU's log and the NVDIMMs, and say where
		  --gdb SOCKET    wait for a debugger on this Unix socket before the first instruction
	EOF
}

lab_usage_error() {
	lab_say "$1"
	lab_run_usage >&2
	exit "$LAB_EXIT_FAILED"
}

# lab_number NAME VALUE LEAST MOST
lab_number() {
	if ! [[ $2 =~ ^(0|[1-9][0-9]{0,5})$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		lab_usage_error "$1 takes a number from $3 to $4, not '$2'"
	fi
}

# lab_size VALUE: bytes of 512MiB, 1GiB or 536870912.
lab_size() {
	[[ $1 =~ ^([1-9][0-9]{0,12})(|MiB|GiB)$ ]] || lab_usage_error "no size: '$1' (512MiB, 1GiB)"
	case ${BASH_REMATCH[2]} in
	MiB) echo $((BASH_REMATCH[1] << 20)) ;;
	GiB) echo $((BASH_REMATCH[1] << 30)) ;;
	*) echo "${BASH_REMATCH[1]}" ;;
	esac
}

lab_parse_run_options() {
	local dir
	LAB_OPT_KERNEL=6.1 LAB_OPT_CHANNELS=2 LAB_OPT_DEVICES=2 LAB_OPT_SIZE=1GiB LAB_OPT_IOMMU=0 LAB_OPT_NUMA=0
	LAB_OPT_PERSISTENCE=mem-ctrl LAB_OPT_MSI=0 LAB_OPT_CPUS=1 LAB_OPT_FAULTS=() LAB_OPT_MODULES=() LAB_OPT_SHARE='' LAB_OPT_TIMEOUT=''
	LAB_OPT_APPEND='' LAB_OPT_ALLOW='' LAB_OPT_CONSOLE=0 LAB_OPT_KEEP=0 LAB_OPT_GDB='' LAB_OPT_COMMAND=()
	while [ $# -gt 0 ]; do
		case $1 in
		--kernel | --channels | --devices | --size | --persistence | --cpus | --fault | --module | --share | --timeout | --append | --allow | --gdb)
			[ $# -gt 1 ] || lab_usage_error "$1 wants a value" ;;
		esac
		case $1 in
		--kernel) LAB_OPT_KERNEL=$2; shift ;;
		--channels) LAB_OPT_CHANNELS=$2; shift ;;
		--devices) LAB_OPT_DEVICES=$2; shift ;;
		--size) LAB_OPT_SIZE=$2; shift ;;
		--persistence) LAB_OPT_PERSISTENCE=$2; shift ;;
		--cpus) LAB_OPT_CPUS=$2; shift ;;
		--fault) LAB_OPT_FAULTS+=("$2"); shift ;;
		--module) LAB_OPT_MODULES+=("$2"); shift ;;
		--share) LAB_OPT_SHARE=$2; shift ;;
		--timeout) LAB_OPT_TIMEOUT=$2; shift ;;
		--allow) LAB_OPT_ALLOW=$2; shift ;;
		--append) LAB_OPT_APPEND=$2; shift ;;
		--gdb) LAB_OPT_GDB=$2; shift ;;
		--iommu) LAB_OPT_IOMMU=1 ;;
		--msi) LAB_OPT_MSI=1 ;;
		--numa) LAB_OPT_NUMA=1 ;;
		--console) LAB_OPT_CONSOLE=1 ;;
		--keep) LAB_OPT_KEEP=1 ;;
		--help | -h) lab_run_usage; exit 0 ;;
		--) shift; LAB_OPT_COMMAND=("$@"); break ;;
		*) lab_usage_error "unknown option: $1 (the command goes after --)" ;;
		esac
		shift
	done
	[ ${#LAB_OPT_COMMAND[@]} -gt 0 ] || lab_usage_error "no command: it goes after --"
	lab_check_kernel "$LAB_OPT_KERNEL"
	if [ -z "$LAB_OPT_TIMEOUT" ]; then
		if [ "$LAB_OPT_KERNEL" = debug ]; then LAB_OPT_TIMEOUT=1200; else LAB_OPT_TIMEOUT=300; fi
	fi
	case $LAB_OPT_PERSISTENCE in
	mem-ctrl | cpu | none) ;;
	*) lab_usage_error "--persistence is mem-ctrl, cpu or none, not '$LAB_OPT_PERSISTENCE'" ;;
	esac
	lab_number --channels "$LAB_OPT_CHANNELS" 0 16
	lab_number --devices "$LAB_OPT_DEVICES" 0 8
	lab_number --cpus "$LAB_OPT_CPUS" 1 8
	lab_number --timeout "$LAB_OPT_TIMEOUT" 1 86400
	[ "$LAB_OPT_NUMA" = 0 ] || [ "$LAB_OPT_CPUS" -gt 1 ] || lab_usage_error "--numa takes two --cpus"
	LAB_OPT_SIZE=$(lab_size "$LAB_OPT_SIZE") || exit
	# the kernel asks for the alignment, and ndctl for room for its own metadata
	if [ $((LAB_OPT_SIZE % (16 << 20))) -ne 0 ] || [ "$LAB_OPT_SIZE" -lt $((64 << 20)) ]; then
		lab_usage_error "--size must be a multiple of 16MiB, and 64MiB at least"
	fi
	for dir in "${LAB_OPT_MODULES[@]}"; do
		[ -e "$dir/Kbuild" ] || [ -e "$dir/Makefile" ] || lab_usage_error "--module: no Kbuild in '$dir'"
	done
	[ -z "$LAB_OPT_SHARE" ] || [ -d "$LAB_OPT_SHARE" ] || lab_usage_error "no folder: $LAB_OPT_SHARE"
}

# What guest/session has to know, as shell assignments.
lab_guest_options() {
	echo "LAB_DEVICES=$LAB_OPT_DEVICES"
	echo "LAB_CHANNELS=$LAB_OPT_CHANNELS"
	if [ -n "$LAB_OPT_SHARE" ]; then echo LAB_SHARE=1; else echo LAB_SHARE=0; fi
	# for tests that look for it themselves, to say which of them it was
	printf 'export LAB_TROUBLE=%q LAB_ALLOW=%q\n' "$LAB_TROUBLE" "$LAB_OPT_ALLOW"
}
