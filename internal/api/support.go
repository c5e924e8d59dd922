package api

import (
	"time"

	"github.com/freshet/freshet/internal/event"
)

// Support is all that whoever helps wants to know, without secrets.
type Support struct {
	Format      int             `json:"format"` // 1
	Made        time.Time       `json:"made"`
	Version     Version         `json:"version"`
	System      System          `json:"system"`
	Status      *Status         `json:"status,omitempty"`
	Tasks       []Task          `json:"tasks"`
	Settings    any             `json:"settings"` // in force, without credentials
	State       any             `json:"state,omitempty"`
	Generations any             `json:"generations"`
	Metadata    SupportMetadata `json:"metadata"`
	Disk        SupportDisk     `json:"disk"`
	Events      []event.Event   `json:"events"`           // the last 200, oldest first
	Errors      []string        `json:"errors,omitempty"` // what could not be read
}

// System is the machine that an agent runs on.
type System struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	User   int    `json:"uid"` // of the process that answers
}

// SupportMetadata is what is trusted, by role.
type SupportMetadata struct {
	Repository string           `json:"repository,omitempty"`
	SignedAt   time.Time        `json:"signed_at,omitzero"`
	Expires    time.Time        `json:"expires,omitzero"` // the earliest
	Versions   map[string]int64 `json:"versions"`
	Notes      []string         `json:"notes,omitempty"`
}

// SupportDisk is the file system of the state folder.
type SupportDisk struct {
	Path       string `json:"path"`
	Bytes      uint64 `json:"bytes"`
	FreeBytes  uint64 `json:"free_bytes"`
	Inodes     uint64 `json:"inodes"`
	FreeInodes uint64 `json:"free_inodes"`
}
