package clamd

// ParseVerdict is parseVerdict, for fuzzing.
var ParseVerdict = parseVerdict
