package api

import "time"

// Licence is how this machine stands with the repository that it updates from.
type Licence struct {
	Agent      string    `json:"agent_id,omitempty"` // of this machine; "": none before the agent first ran
	Repository string    `json:"repository"`
	State      string    `json:"state"` // "not required", "current", "expires soon", "expired", "missing", "unknown"
	To         string    `json:"to,omitempty"`
	Until      time.Time `json:"until,omitzero"`  // end of the licence that counts, or counted last
	Left       bool      `json:"one_update_left"` // one update without a licence is still possible

	Licences []KnownLicence `json:"licences"` // all that are kept
}

// KnownLicence is a licence that was added.
type KnownLicence struct {
	ID      string    `json:"id"`
	To      string    `json:"to"`
	Issued  time.Time `json:"issued"`
	Until   time.Time `json:"until"`
	Agent   string    `json:"agent,omitempty"` // the one it is for; "": any
	Expired bool      `json:"expired,omitempty"`
	Refused string    `json:"refused,omitempty"` // why it does not count here
}

// AddLicence asks to add a licence.
type AddLicence struct {
	Licence string `json:"licence"` // the file's text
}
