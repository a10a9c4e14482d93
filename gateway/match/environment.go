package match

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// The names that a filter can use.
const (
	varData    = "data"
	varSubject = "subject"
	varTokens  = "tokens"
	varHeaders = "headers"
	varID      = "id"
	varTime    = "time"
)

// environment is the one CEL environment of all filters: it is costly to
// build and never changes afterwards. The versions of the libraries are fixed,
// so that a newer cel-go does not change what a stored filter means.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.VariableWithDoc(varData, cel.DynType, "the event's body, parsed as JSON"),
		cel.VariableWithDoc(varSubject, cel.StringType, "the subject that the event was published to"),
		cel.VariableWithDoc(varTokens, cel.ListType(cel.StringType), "the tokens of the subject"),
		cel.VariableWithDoc(varHeaders, cel.MapType(cel.StringType, cel.StringType), "the first value of each header"),
		cel.VariableWithDoc(varID, cel.StringType, "the event's id"),
		cel.VariableWithDoc(varTime, cel.TimestampType, "when the event was accepted"),

		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateRegexLiterals(),
		),
		cel.OptionalTypes(cel.OptionalTypesVersion(2)),
		ext.Strings(ext.StringsVersion(5)),
		ext.Sets(ext.SetsVersion(1)),
	)
})
