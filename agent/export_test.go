package agent

// JudgeWall is the judgement of the firewall in trials of modules.
var JudgeWall = judgeWall
