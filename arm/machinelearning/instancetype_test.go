package machinelearning

import "testing"

func TestSizeOf(t *testing.T) {
	for _, name := range []string{"Standard_DS3_v2", "STANDARD_ds3_V2"} {
		if s, ok := sizeOf(name); !ok || s != (size{4, 14336}) {
			t.Errorf("%s: %+v %v", name, s, ok)
		}
	}
	if s, ok := sizeOf("Standard_ND96isr_H100_v5"); ok {
		t.Errorf("a size that is not in the table: %+v", s)
	}
}
