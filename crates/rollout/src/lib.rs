//! The canary engine, pure: recipe, plan, assessment.
