package machinelearning

import "strings"

// size is what a virtual machine of an instance type has.
type size struct {
	cores     int
	memoryMiB int
}

// sizes are the machines that managed online endpoints are commonly given, by
// their names in lower case (wire/endpoint-behaviour.md 2.5: cores from the SKU
// list of managed endpoints, memory from Azure's machine sizes). Graphics
// processors are not emulated.
var sizes = map[string]size{
	"standard_ds1_v2": {1, 3584}, "standard_ds2_v2": {2, 7168}, "standard_ds3_v2": {4, 14336}, "standard_ds4_v2": {8, 28672}, "standard_ds5_v2": {16, 57344},
	"standard_f2s_v2": {2, 4096}, "standard_f4s_v2": {4, 8192}, "standard_f8s_v2": {8, 16384}, "standard_f16s_v2": {16, 32768}, "standard_f32s_v2": {32, 65536}, "standard_f72s_v2": {72, 147456},
	"standard_e2s_v3": {2, 16384}, "standard_e4s_v3": {4, 32768}, "standard_e8s_v3": {8, 65536}, "standard_e16s_v3": {16, 131072},
	"standard_d2as_v4": {2, 8192}, "standard_d4as_v4": {4, 16384}, "standard_d8as_v4": {8, 32768},
	"standard_nc4as_t4_v3": {4, 28672}, "standard_nc6s_v3": {6, 114688}, "standard_nc12s_v3": {12, 229376}, "standard_nc24s_v3": {24, 458752},
	"standard_nc24ads_a100_v4": {24, 225280}, "standard_nv6ads_a10_v5": {6, 56320},
}

// sizeOf is an instance type's size; false for one that is not in the table,
// whose instances have no limits but the machine's.
func sizeOf(instanceType string) (size, bool) {
	s, ok := sizes[strings.ToLower(instanceType)]
	return s, ok
}
