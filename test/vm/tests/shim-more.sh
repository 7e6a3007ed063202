# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The same as shim.sh as it is built for a host, behind an IOMMU, and on two I/OAT devices or two
# drivers: minutes.

# shellcheck source=../lib/shim.sh
. "$LAB_DIR/lib/shim.sh"

check "builds" build_shim tests -static
check "on four channels" test_shim tests --channels 4 --
check "on two devices, one of which goes" test_shim tests --channels 8 -- one_of_two_dma_devices
check "on two drivers, one of which goes" test_shim tests --channels 4 --module "$LAB_DIR/kernel/modules" -- one_of_two_drivers
check "behind an IOMMU" test_shim tests --channels 4 --iommu --
