// Package configtest holds configurations in the real vocabulary, with what must
// come of each: the snapshot, or every problem as people see it. It has tests
// only; a case is a file in testdata.
package configtest
