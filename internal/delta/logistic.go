package delta

// logistic holds what mixing predictions needs: they are weighed and added in
// the domain of ln(p/(1-p)), as in the PAQ family.
type logistic struct {
	rates    *rates
	stretch  [4096]int16  // of 12 bits of probability
	squashed [4096]uint16 // of -2048 and up, 16 bits of probability
}

func newLogistic(r *rates) *logistic {
	l := &logistic{rates: r}
	i := 0
	for x := int32(-2047); x <= 2047; x++ {
		p := squash(x)
		l.squashed[x+2048] = uint16(p)
		for ; i <= int(p>>4); i++ {
			l.stretch[i] = int16(x)
		}
	}
	for ; i < 4096; i++ {
		l.stretch[i] = 2047
	}
	return l
}

// squash turns a weighed sum, in 1/65536, back into a probability.
func (l *logistic) squash(sum int64) int32 {
	return int32(l.squashed[(max(-2047, min(sum>>16, 2047))+2048)&4095])
}

// squash is the logistic function: 65536/(1+e^(-x/256)), by lines between
// points that are half a unit apart.
func squash(x int32) int32 {
	points := [33]int32{
		22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743,
		32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
	}
	x = max(-2047, min(x, 2047))
	i := (x + 2048) >> 7
	f := (x + 2048) & 127
	return points[i] + (points[i+1]-points[i])*f>>7
}
