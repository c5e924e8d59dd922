package modules

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// AboutFile is the file in a module's folder that says what the module is.
const AboutFile = "module.yaml"

// maxAbout is the largest module.yaml in bytes.
const maxAbout = 256 << 10

// ParseAbout reads a module.yaml. Unknown keys are refused: they are slips.
func ParseAbout(data []byte) (*About, error) {
	if len(data) > maxAbout {
		return nil, fmt.Errorf("%s: more than %d bytes", AboutFile, maxAbout)
	}
	var a About
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&a); err != nil {
		return nil, fmt.Errorf("%s: %w", AboutFile, err)
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return nil, fmt.Errorf("%s: a second document begins", AboutFile)
	}
	if err := a.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", AboutFile, err)
	}
	return &a, nil
}

// ReadAbout reads the module.yaml of the module in the folder dir, and sees
// that its programs are there and can be executed. With anyProgram they may be
// made for whatever machine.
func ReadAbout(dir string, anyProgram bool) (*About, error) {
	f, err := os.Open(filepath.Join(dir, AboutFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAbout+1))
	if err != nil {
		return nil, err
	}
	a, err := ParseAbout(data)
	if err != nil {
		return nil, err
	}
	for _, p := range a.Programs {
		if err := a.checkProgram(filepath.Join(dir, filepath.FromSlash(p)), anyProgram); err != nil {
			return nil, fmt.Errorf("program %s: %w", p, err)
		}
	}
	return a, nil
}

// machines are those of ELF files, by Go's name of the architecture.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64,
	"riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "loong64": elf.EM_LOONGARCH,
}

func (a *About) checkProgram(path string, anyProgram bool) error {
	st, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return errors.New("it is no regular file")
	case st.Mode().Perm()&0o100 == 0:
		return errors.New("it cannot be executed: chmod +x it")
	case anyProgram:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != elf.ELFMAG {
		return nil // a script, say
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("it is cut off or damaged: %w", err)
	}
	arch := filepath.Base(a.Platform)
	if want, ok := machines[arch]; ok && e.Machine != want {
		return fmt.Errorf("it is made for %s, the platform is %s", e.Machine, a.Platform)
	}
	return wholeELF(e, st.Size())
}

// wholeELF says whether all that the program's segments name is in the file.
func wholeELF(e *elf.File, size int64) error {
	for _, p := range e.Progs {
		if p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off {
			return fmt.Errorf("it is cut off: a segment ends behind its %d bytes", size)
		}
	}
	return nil
}
