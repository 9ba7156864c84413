package blobfake

import (
	"net/http"
	"strconv"
	"strings"
)

// byteRange is a range of a blob; end is inclusive and -1 for "to the end".
type byteRange struct{ start, end int64 }

// requestRange is the range asked for; x-ms-range wins over Range.
func requestRange(h http.Header) (rng byteRange, ok bool, err error) {
	for _, name := range []string{"x-ms-range", "Range"} {
		if v := h.Get(name); v != "" {
			rng, ok = parseRange(v)
			if !ok {
				return rng, false, errInvalidHeader(name, v)
			}
			return rng, true, nil
		}
	}
	return rng, false, nil
}

// parseRange reads "bytes=a-b" or "bytes=a-". Azure documents neither suffix
// ranges nor lists of ranges.
func parseRange(v string) (byteRange, bool) {
	spec, ok := strings.CutPrefix(strings.TrimSpace(v), "bytes=")
	if !ok {
		return byteRange{}, false
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return byteRange{}, false
	}
	start, ok := parseOffset(first)
	if !ok {
		return byteRange{}, false
	}
	if last == "" {
		return byteRange{start, -1}, true
	}
	end, ok := parseOffset(last)
	return byteRange{start, end}, ok && end >= start
}

// parseOffset takes digits only: ParseInt would take a sign as well.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// within cuts the range to a blob of that size. A range that starts at or
// behind the end, so any range of an empty blob, is not satisfiable.
func (rng byteRange) within(size int64) (offset, length int64, err error) {
	if rng.start >= size {
		return 0, 0, errInvalidRange(size)
	}
	end := rng.end
	if end < 0 || end >= size {
		end = size - 1
	}
	return rng.start, end - rng.start + 1, nil
}

func (rng byteRange) String() string {
	return strconv.FormatInt(rng.start, 10) + "-" + strconv.FormatInt(rng.end, 10)
}
