package event

import "strings"

// The codes.
const (
	AgentStarted             Code = "AgentStarted"
	AgentStopped             Code = "AgentStopped"
	UpdateStarted            Code = "UpdateStarted"
	UpdateFinished           Code = "UpdateFinished"
	UpdateFailed             Code = "UpdateFailed"
	UpdateStopped            Code = "UpdateStopped"
	NothingNew               Code = "NothingNew"
	BasesUpdated             Code = "BasesUpdated"
	BaseUpdateFailed         Code = "BaseUpdateFailed"
	BaseRefused              Code = "BaseRefused"
	BaseRolledBack           Code = "BaseRolledBack"
	BaseHeld                 Code = "BaseHeld"
	BaseReleased             Code = "BaseReleased"
	BaseDamaged              Code = "BaseDamaged"
	BaseRepaired             Code = "BaseRepaired"
	BasesAreUpToDate         Code = "BasesAreUpToDate"
	BasesAreOutOfDate        Code = "BasesAreOutOfDate"
	BasesAreTotallyOutOfDate Code = "BasesAreTotallyOutOfDate"
	WithoutBases             Code = "WithoutBases"
	SourceFailed             Code = "SourceFailed"
	SourceBehind             Code = "SourceBehind"
	SourcesBehind            Code = "SourcesBehind"
	NumbersReused            Code = "NumbersReused"
	SourceBusy               Code = "SourceBusy"
	SourceSlow               Code = "SourceSlow"
	SourceWithholds          Code = "SourceWithholds"
	SourceDamaged            Code = "SourceDamaged"
	SourceHostile            Code = "SourceHostile"
	MetadataExpired          Code = "MetadataExpired"
	RootExpired              Code = "RootExpired"
	DeltaFailed              Code = "DeltaFailed"
	ClockBehind              Code = "ClockBehind"
	SignedInFuture           Code = "SignedInFuture"
	PublishedInFuture        Code = "PublishedInFuture"
	SettingsLoaded           Code = "SettingsLoaded"
	SettingsRefused          Code = "SettingsRefused"
	SettingsNotMigrated      Code = "SettingsNotMigrated"
	SettingsBack             Code = "SettingsBack"
	EngineFailed             Code = "EngineFailed"
	EngineAccepted           Code = "EngineAccepted"
	DeliveryAdopted          Code = "DeliveryAdopted"
	DeliveryTakenBack        Code = "DeliveryTakenBack"
	DeliveryLeft             Code = "DeliveryLeft"
	BaseUnknown              Code = "BaseUnknown"
	WithoutSource            Code = "WithoutSource"
	DiskFull                 Code = "DiskFull"
	ImportFailed             Code = "ImportFailed"
	LicenceMissing           Code = "LicenceMissing"
	LicenceExpired           Code = "LicenceExpired"
	LicenceExpiresSoon       Code = "LicenceExpiresSoon"
	LicenceAdded             Code = "LicenceAdded"
	FirewallApplied          Code = "FirewallApplied"
	FirewallFailed           Code = "FirewallFailed"
	FirewallRefused          Code = "FirewallRefused"
	FirewallConfirmed        Code = "FirewallConfirmed"
	FirewallReturned         Code = "FirewallReturned"
	FirewallDrift            Code = "FirewallDrift"
	FirewallRepaired         Code = "FirewallRepaired"
	FirewallFight            Code = "FirewallFight"
	FirewallListRefused      Code = "FirewallListRefused"
	FirewallListChanged      Code = "FirewallListChanged"
	FirewallBothVariants     Code = "FirewallBothVariants"
	FirewallUnavailable      Code = "FirewallUnavailable"
	FirewallOff              Code = "FirewallOff"
	StateDamaged             Code = "StateDamaged"
	HistoryLost              Code = "HistoryLost"
	StateUnread              Code = "StateUnread"
	DiskCeiling              Code = "DiskCeiling"
	VersionGivenUp           Code = "VersionGivenUp"
	MetricsFailed            Code = "MetricsFailed"
	TasksDamaged             Code = "TasksDamaged"
	FileUnread               Code = "FileUnread"
	FileBack                 Code = "FileBack"
	TaskCreated              Code = "TaskCreated"
	TaskDeleted              Code = "TaskDeleted"
	TaskSkipped              Code = "TaskSkipped"
	TaskTimedOut             Code = "TaskTimedOut"
	Enrolled                 Code = "Enrolled"
	EnrollFailed             Code = "EnrollFailed"
	ModuleAvailable          Code = "ModuleAvailable"
	ModuleFetched            Code = "ModuleFetched"
	ModuleOnTrial            Code = "ModuleOnTrial"
	ModuleUpdated            Code = "ModuleUpdated"
	ModuleUpdateFailed       Code = "ModuleUpdateFailed"
	ModuleRefused            Code = "ModuleRefused"
	ModuleRolledBack         Code = "ModuleRolledBack"
	ModuleHeld               Code = "ModuleHeld"
	ModuleReleased           Code = "ModuleReleased"
	ModuleDamaged            Code = "ModuleDamaged"
	ModuleRepaired           Code = "ModuleRepaired"
	WentBack                 Code = "WentBack"
	ModuleSwitched           Code = "ModuleSwitched"
	AgentFailing             Code = "AgentFailing"
	PackageRegistered        Code = "PackageRegistered"
	AgentOfPackage           Code = "AgentOfPackage"
)

// Table lists every event there is.
var Table = []Kind{
	{AgentStarted, Info, "agent {version} started", ""},
	{AgentStopped, Info, "agent stopped", ""},
	{UpdateStarted, Info, "update started ({why})", ""},
	{UpdateFinished, Info, "update finished: {result}, {bytes} bytes fetched", ""},
	{UpdateFailed, Error, "update failed: {error}", "the installed bases stay in use; see freshet status and freshet events"},
	{UpdateStopped, Warning, "update stopped before its end: {error}", "the installed bases stay in use; the next run goes on from what was fetched"},
	{NothingNew, Info, "nothing new at {source}", ""},
	{BasesUpdated, Info, "bases updated: {bases}", ""},
	{BaseUpdateFailed, Error, "base {base} could not be updated to version {version}: {error}", "the installed version stays in use; the next run tries again, from all sources"},
	{BaseRefused, Error, "base {base} version {version} was refused: {error}", "the installed version stays in use; tell the publisher"},
	{BaseRolledBack, Warning, "base {base} rolled back from version {from} to {to}: {error}", "it is kept until a newer version; freshet bases unhold {base} allows version {from} again"},
	{BaseHeld, Info, "base {base} is held at version {version} by an operator: nothing newer is installed", "freshet bases unhold {base} lets it go on"},
	{BaseReleased, Info, "base {base}: {what} may be installed again", ""},
	{BaseDamaged, Critical, "base {base} version {version} is damaged: {error}", "freshet bases repair {base} fetches it again; the agent does so by itself within a day"},
	{BaseRepaired, Info, "base {base} version {version} was repaired", ""},
	{BasesAreUpToDate, Info, "bases are up to date again", ""},
	{BasesAreOutOfDate, Warning, "bases are out of date: {base} is {age} old", "run freshet update; if it finds nothing new, ask the publisher"},
	{BasesAreTotallyOutOfDate, Critical, "bases are totally out of date: {base} is {age} old", "run freshet update; if it finds nothing new, ask the publisher"},
	{WithoutBases, Warning, "running without databases{why}", "run freshet enroll URL --root FILE; where that was done, freshet update"},
	{SourceFailed, Warning, "source {source} failed: {error}", "the next source is asked; check its address, the network and the proxy"},
	{SourceBehind, Info, "source {source} is behind what was seen before: {error}", "the next source is asked; a mirror that stays behind needs its administrator"},
	{SourcesBehind, Warning, "every source is behind what was seen before: {error}", "the installed bases stay in use; mirrors catch up by themselves; where the publisher came back from a backup, they sign above the numbers seen: freshet-publish restore REPO --above NUMBER, from freshet status --json"},
	{NumbersReused, Error, "source {source} signs other content under numbers that were seen: {error}", "nothing older is installed; the publisher came back from a backup, or two sign the same repository: they sign above the numbers seen, freshet-publish restore REPO --above NUMBER, from freshet status --json"},
	{SourceBusy, Warning, "source {source} is busy: {error}", "the next source is asked, and this one again after that time"},
	{SourceSlow, Info, "source {source} is left for another one at {file}: {error}", "what came is kept, and the slow source is asked last for some hours"},
	{SourceWithholds, Warning, "source {source} names what it does not give: {error}", "the other sources are asked, also for the newest whole set before it; a mirror that is copied must get its timestamp last: tell its administrator"},
	{SourceDamaged, Error, "source {source} does not give what was signed: {error}", "nothing of it was used, and the next source is asked; if there is no portal or proxy in the way, tell the mirror's administrator"},
	{SourceHostile, Critical, "source {source} offers what must not be trusted: {error}", "nothing of it was installed; tell the publisher and do not use this mirror"},
	{MetadataExpired, Error, "the repository's signatures have expired: {error}", "protection goes on with the installed bases; another source may have newer ones, else the publisher must sign again; is this machine's clock right?"},
	{RootExpired, Error, "the root of trust has expired, and source {source} leads to no newer one: {error}", "protection goes on with the installed bases; get the publisher's newest root on a way that you trust, and run freshet enroll URL --root FILE --replace; if they have none that is valid, they must sign one: freshet-publish sign REPO root; is this machine's clock right?"},
	{DeltaFailed, Warning, "delta of base {base} from version {from} to {to} failed: {error}", "the next best way is taken"},
	{ClockBehind, Warning, "this machine's clock is {behind} behind the repository's time of signing", "set the clock, by NTP if possible: a synchronised clock is believed over a publisher's that was ahead"},
	{SignedInFuture, Warning, "the publisher signed in the future: at {signed}, {ahead} ahead of this machine's synchronised clock", "ages and expiry go on by this machine's clock; tell the publisher to set theirs and to sign again"},
	{PublishedInFuture, Warning, "base {base} version {version} is published in the future, at {published}", "set this machine's clock, or tell the publisher"},
	{SettingsLoaded, Info, "settings loaded from {file}", ""},
	{SettingsRefused, Error, "settings in {file} were refused, {instead}: {error}", "mend the file; freshet settings check FILE tries it"},
	{SettingsNotMigrated, Error, "settings in {file} could not be migrated from version {from} to {to}, {instead}: {error}; the file is untouched{kept}", "go back with freshet rollback, or write the file anew for this version (docs/settings.md); tell the publisher of Freshet"},
	{SettingsBack, Warning, "the trial of {modules} ended without being confirmed: {settings}", "freshet settings check FILE says what this version does not accept of an edit"},
	{EngineFailed, Error, "engine of base {base}: {step} failed: {error}", "see what the settings say of this base: deliver, try, took, signal, health"},
	{EngineAccepted, Info, "engine of base {base} uses version {version} now", ""},
	{DeliveryAdopted, Warning, "base {base}: files of others in {folder} are the same to the byte, and follow its versions now: {files}", "they stay when the base is no longer delivered; move them away beforehand if they shall go with it"},
	{DeliveryTakenBack, Info, "base {base} is no longer delivered: {files} files removed from {folder}", ""},
	{DeliveryLeft, Warning, "base {base} is no longer delivered, and some of it stays in {folder}: {error}", "look at it, and remove what the engine shall not use any more"},
	{BaseUnknown, Warning, "{error}", "freshet settings show lists what is wanted"},
	{WithoutSource, Warning, "no source is set: nothing can be updated", "add sources to the settings, or take bundles with freshet import PATH"},
	{DiskFull, Error, "not enough disk: {need} bytes needed, {free} free at {path}", "free some space, inodes (df -i) or quota, whichever is short; the installed bases stay in use"},
	{ImportFailed, Error, "import of {path} failed: {error}", "the installed bases stay in use; an expired bundle is made anew with freshet-publish bundle REPO OUT --valid 30d"},
	{LicenceMissing, Error, "the repository asks for a licence, and there is none: {effect}", "get one from the publisher for agent {agent}, and add it with freshet licence add FILE"},
	{LicenceExpired, Error, "the licence for {to} ended at {until}: {effect}", "get another from the publisher for agent {agent}, and add it with freshet licence add FILE"},
	{LicenceExpiresSoon, Warning, "the licence for {to} ends at {until}", "get another from the publisher for agent {agent}, and add it with freshet licence add FILE"},
	{LicenceAdded, Info, "licence for {to} added, until {until}", ""},
	{FirewallApplied, Info, "firewall: set {set} is in force by {backend}: {rules} rules, {addresses} addresses in block lists", ""},
	{FirewallFailed, Error, "firewall: a change failed: {error}", "the rules of before stay in force; see freshet firewall show"},
	{FirewallRefused, Error, "firewall: the rules of the settings are not applied: {error}", "add a rule that passes it, or freshet firewall apply --force; what was in force stays"},
	{FirewallConfirmed, Info, "firewall: set {set} is confirmed", ""},
	{FirewallReturned, Warning, "firewall: set {set} was not confirmed in time, and the rules of before are back (set {to})", "freshet firewall apply --confirm-within 60s tries again"},
	{FirewallDrift, Warning, "firewall: others changed the rules: {difference}", "freshet firewall check shows all of it; freshet firewall restore sets it right, as does drift: repair in the settings"},
	{FirewallRepaired, Info, "firewall: the rules of set {set} are as they should be again", ""},
	{FirewallFight, Error, "firewall: the rules were set right {times} times within an hour, and somebody changes them again: they are left alone for now", "find out who does: freshet firewall check; then freshet firewall restore"},
	{FirewallListRefused, Error, "firewall: the block list {base} cannot be used: {error}", "its content before stays in force; tell the publisher"},
	{FirewallListChanged, Warning, "firewall: the block list {base}: {error}", "see freshet firewall show"},
	{FirewallBothVariants, Warning, "firewall: rules of others stand both in iptables-nft and in iptables-legacy; {backend} is used", "move them into one: update-alternatives --display iptables"},
	{FirewallUnavailable, Warning, "firewall: there is none on this host: {error}", "everything else works; install iptables and run the agent as root, or set firewall: {enabled: false}"},
	{FirewallOff, Info, "firewall: Freshet's rules are taken away", ""},
	{ModuleAvailable, Info, "module {module} {version} is available: {what}", "freshet modules show {module} tells what is new in it"},
	{ModuleFetched, Info, "module {module} {version} is fetched and not installed, as the settings say", "freshet modules install {module} installs it"},
	{ModuleOnTrial, Info, "module {module} {version} is on trial, after {from}", ""},
	{ModuleUpdated, Info, "module {module} is updated from {from} to {version}", ""},
	{ModuleUpdateFailed, Error, "module {module} could not be updated to {version}: {error}", "the installed version goes on running; the next run tries again, from all sources"},
	{ModuleRefused, Warning, "module {module} {version} is not installed: {error}", "the installed version goes on running; freshet modules list shows what there is"},
	{ModuleRolledBack, Error, "module {module} rolled back from {from} to {to}: {error}", "it is kept until a newer version; freshet modules unhold {module} allows {from} again"},
	{ModuleHeld, Info, "module {module} stays at {version}, by an operator", "freshet modules unhold {module} lets it be updated again"},
	{ModuleReleased, Info, "module {module}: {version} may be installed again", ""},
	{ModuleDamaged, Critical, "module {module} {version} is damaged: {error}", "freshet bases repair fetches it again; the agent does so by itself within a day"},
	{ModuleRepaired, Info, "module {module} {version} was repaired", ""},
	{WentBack, Warning, "went back from generation {from} to what generation {to} holds: {what}", "what was left is held back; freshet bases unhold and freshet modules unhold allow it again"},
	{ModuleSwitched, Info, "module {module} went from {from} to {to}; it was away for {gap}", ""},
	{AgentFailing, Critical, "the agent {version} does not keep running: {error}", "it is started again at longer and longer intervals, and what engines have stays in use; see journalctl -u freshet, and ask {support}"},
	{AgentOfPackage, Critical, "the agent {version} cannot be started, and the package's program serves in its place: {error}", "databases are updated as before; remove the cause, then restart the service"},
	{PackageRegistered, Info, "the package's build {version} is installed as a version of the agent", ""},
	{StateDamaged, Critical, "the state file is damaged: {error}", "the newest generation that verifies is in use; see freshet status"},
	{StateUnread, Critical, "the state cannot be read, and nothing is updated: {error}", "what engines have stays in use, and each run tries again; a file of a newer version is for the version that the error names; one that the disk does not give any more can be moved away: the state is then recovered from what there is"},
	{HistoryLost, Critical, "what was rolled back before {at} is not known any more: nothing that was published before is installed", "the next version that the publisher makes is; freshet bases unhold NAME and freshet modules unhold NAME allow what there is"},
	{DiskCeiling, Error, "{what} does not fit below the disk ceiling of {ceiling} bytes: {path} takes {used}, {need} more are needed", "raise disk.ceiling in the settings, or name fewer bases there; the installed bases stay in use"},
	{VersionGivenUp, Info, "base {base} version {version}, kept to go back to, was removed to stay below the disk ceiling: {bytes} bytes", ""},
	{MetricsFailed, Warning, "metrics are not given at {where}: {error}", "see metrics in the settings; freshet service install lets the service write the file's folder"},
	{TasksDamaged, Error, "the file of tasks is damaged: {error}; {lost}", "freshet task list shows what there is; the damaged file is kept as {kept}; set anew what is missing with freshet task create and freshet task set"},
	{FileUnread, Error, "{error}; {instead}", "it is tried again every minute; a file of a newer version is for the version that the error names; one that the disk does not give any more can be moved away"},
	{FileBack, Info, "{file} can be read again, and is in use", ""},
	{TaskCreated, Info, "task {task} ({name}) was made", ""},
	{TaskDeleted, Info, "task {task} ({name}) was deleted", ""},
	{TaskSkipped, Info, "a run of task {task} ({name}) was left out: {why}", ""},
	{TaskTimedOut, Warning, "task {task} ({name}) was ended at its time limit of {limit}", "what was fetched is kept for the next run; freshet task set {task} --limit changes it"},
	{Enrolled, Info, "enrolled at {source}, repository {repository}", ""},
	{EnrollFailed, Error, "enrolling at {source} failed: {error}", "what was trusted before stays in force, and the installed bases in use"},
}

func kindOf(c Code) Kind {
	for _, k := range Table {
		if k.Code == c {
			return k
		}
	}
	return Kind{Code: c, Severity: Error, Text: string(c)}
}

func fill(s string, fields map[string]string) string {
	if s == "" {
		return ""
	}
	pairs := make([]string, 0, 2*len(fields))
	for k, v := range fields {
		pairs = append(pairs, "{"+k+"}", v)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}
