package api

// Enroll asks to trust a repository and to keep its bases.
type Enroll struct {
	Source      string   `json:"source"`                // URL, or the absolute path of a folder
	Root        []byte   `json:"root,omitempty"`        // the root of trust, base64; or
	Fingerprint string   `json:"fingerprint,omitempty"` // the SHA-256 of the one that the source has, hexadecimal
	Bases       []string `json:"bases,omitempty"`       // wanted; none: those of the settings, without any there all
	Replace     bool     `json:"replace,omitempty"`     // another root of trust gives way
}

// Enrolling answers the start of an enrolment. It is done when the run of its
// task ends well; until then, and when it fails, what was in force stays.
type Enrolling struct {
	Started
	Source      string   `json:"source"` // without credentials
	Repository  string   `json:"repository"`
	RootVersion int64    `json:"root_version"`
	Fingerprint string   `json:"fingerprint"`
	Before      string   `json:"before,omitempty"` // the root of trust that gives way, in words
	Offered     []string `json:"offered"`          // bases that the repository has
	Wanted      []string `json:"wanted,omitempty"` // of them; none: all, also those to come
	Settings    string   `json:"settings"`         // file that is written
	Root        string   `json:"root"`             // likewise
	Changes     []string `json:"changes"`          // in the settings, in words
}
