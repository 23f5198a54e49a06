//go:build tools

package tools

import _ "sigs.k8s.io/gateway-api/pkg/consts" // for the CRDs in its module
