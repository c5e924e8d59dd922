package rollback

// Seal is for tests that write files of other versions.
var Seal = seal
