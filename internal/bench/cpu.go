package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the kernel's unit of processor time in /proc, USER_HZ, which is
// 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuTime is the processor time a process and its children that live have
// used; 0 where there is no /proc.
func cpuTime(pid int) time.Duration {
	proc := "/proc/" + strconv.Itoa(pid)
	total := time.Duration(0)
	if raw, err := os.ReadFile(proc + "/stat"); err == nil {
		total = statTime(raw)
	}
	children, err := os.ReadFile(proc + "/task/" + strconv.Itoa(pid) + "/children")
	if err != nil {
		return total
	}
	for _, field := range strings.Fields(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			total += cpuTime(child)
		}
	}
	return total
}

// statTime reads user and system time from a stat file (proc(5)): fields 14
// and 15, counted past the name, which may hold anything.
func statTime(raw []byte) time.Duration {
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	total := time.Duration(0)
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0
		}
		total += time.Duration(ticks) * clockTick
	}
	return total
}
